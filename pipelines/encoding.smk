# Encoding: check the alignment, extract features, fit and test encoding models, write the report.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# A rule runs again when its stage file changes: .neurolm/stages/*.json hold only the settings
# that matter to that stage, and are rewritten only when their content changes.

wildcard_constraints:
    story="[A-Za-z0-9]+",

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


rule all:
    input:
        "report.html",


rule check:
    input:
        ".neurolm/stages/dataset.json",
    output:
        "stimuli/alignment.json",
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    shell:
        COMMAND + f" stimuli check {FOLDER}/config.json"


rule features:
    input:
        ".neurolm/stages/features.json",
        "stimuli/alignment.json",
    output:
        "features/story-{story}_features.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" features extract {FOLDER}/config.json --story {{wildcards.story}}"


rule encode:
    input:
        ".neurolm/stages/encode.json",
        expand("features/story-{story}_features.json", story=config["stories"]),
    output:
        "encoding/scores.h5",
        "encoding/scores.tsv",
        expand("sub-{subject}/sub-{subject}_encoding.h5", subject=config["subjects"]),
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" encode {FOLDER}/config.json"


rule report:
    input:
        ".neurolm/stages/report.json",
        "stimuli/alignment.json",
        "encoding/scores.h5",
    output:
        "report.html",
        expand("sub-{subject}.html", subject=config["subjects"]),
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    shell:
        COMMAND + f" report {FOLDER}/config.json"
