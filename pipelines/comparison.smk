# Comparison: check the alignment, extract every model's features, score the models side by side.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# Models are independent of one another until the last rule: on a cluster they are extracted at once.

wildcard_constraints:
    story="[A-Za-z0-9]+",
    model="[A-Za-z0-9]+",

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


def after_check(path):
    """What is made now waits for the check of words against BOLD; what is reused does not depend on it."""
    return ["stimuli/alignment.json"] if path in config.get("make", [path]) else []


rule all:
    input:
        "stimuli/alignment.json",
        "comparison/models.md",


rule check:
    output:
        "stimuli/alignment.json",
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    shell:
        COMMAND + f" stimuli check {FOLDER}/config.json"


rule features:
    input:
        lambda wildcards: after_check(f"models/{wildcards.model}/features/story-{wildcards.story}_features.json"),
    output:
        "models/{model}/features/story-{story}_features.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" features extract {FOLDER}/models/{{wildcards.model}}/config.json --story {{wildcards.story}}"


rule compare:
    input:
        after_check("comparison/models.md"),
        expand("models/{model}/features/story-{story}_features.json", model=config["models"], story=config["stories"]),
    output:
        "comparison/scores.h5",
        "comparison/models.csv",
        "comparison/models.md",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" compare {FOLDER}/config.json"
