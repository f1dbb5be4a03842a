# Encoding: check the alignment, extract features, fit and test encoding models, write the report.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# A rule runs again when its stage file changes: .neurolm/stages/*.json hold only the settings
# that matter to that stage, and are rewritten only when their content changes.

wildcard_constraints:
    story="[A-Za-z0-9]+",

STORIES = config["stories"]
SUBJECTS = config["subjects"]

# Matrix products differ in the last bits between thread counts, so every step pins its own.
THREADS = f"OMP_NUM_THREADS={config['threads']} OPENBLAS_NUM_THREADS={config['threads']} MKL_NUM_THREADS={config['threads']}"
NEUROLM = f"{THREADS} {config['command']}"


rule all:
    input:
        "report.html",


rule check:
    input:
        ".neurolm/stages/dataset.json",
    output:
        "stimuli/alignment.json",
    shell:
        NEUROLM + " stimuli check config.json"


rule features:
    input:
        ".neurolm/stages/features.json",
        "stimuli/alignment.json",
    output:
        "features/story-{story}_features.json",
    threads: config["threads"]
    shell:
        NEUROLM + " features extract config.json --story {wildcards.story}"


rule encode:
    input:
        ".neurolm/stages/encode.json",
        expand("features/story-{story}_features.json", story=STORIES),
    output:
        "encoding/scores.h5",
        "encoding/scores.tsv",
        expand("sub-{subject}/sub-{subject}_encoding.h5", subject=SUBJECTS),
    threads: config["threads"]
    shell:
        NEUROLM + " encode config.json"


rule report:
    input:
        ".neurolm/stages/report.json",
        "stimuli/alignment.json",
        "encoding/scores.h5",
    output:
        "report.html",
        expand("sub-{subject}.html", subject=SUBJECTS),
    shell:
        NEUROLM + " report config.json"
