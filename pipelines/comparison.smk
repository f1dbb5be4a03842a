# Comparison: check the alignment, extract every model's features, score the models side by side.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# Models are independent of one another until the last rule: on a cluster they are extracted at once.

wildcard_constraints:
    story="[A-Za-z0-9]+",
    model="[A-Za-z0-9]+",

STORIES = config["stories"]
MODELS = config["models"]

# Matrix products differ in the last bits between thread counts, so every step pins its own.
THREADS = f"OMP_NUM_THREADS={config['threads']} OPENBLAS_NUM_THREADS={config['threads']} MKL_NUM_THREADS={config['threads']}"
NEUROLM = f"{THREADS} {config['command']}"


rule all:
    input:
        "comparison/models.md",


rule check:
    input:
        ".neurolm/stages/dataset.json",
    output:
        "stimuli/alignment.json",
    shell:
        NEUROLM + " stimuli check .neurolm/check.json"


rule features:
    input:
        ".neurolm/stages/features-{model}.json",
        "stimuli/alignment.json",
    output:
        "models/{model}/features/story-{story}_features.json",
    threads: config["threads"]
    shell:
        NEUROLM + " features extract models/{wildcards.model}/config.json --story {wildcards.story}"


rule compare:
    input:
        ".neurolm/stages/compare.json",
        expand("models/{model}/features/story-{story}_features.json", model=MODELS, story=STORIES),
    output:
        "comparison/scores.h5",
        "comparison/models.csv",
        "comparison/models.md",
    threads: config["threads"]
    shell:
        NEUROLM + " compare config.json"
