# Encoding: check the alignment, extract features, fit and test encoding models, write the report.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# What has to be made again is decided there, by content, and given to Snakemake with --forcerun; time stamps do not matter.

wildcard_constraints:
    story="[A-Za-z0-9]+",

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


def after_check(path):
    """What is made now waits for the check of words against BOLD; what is reused does not depend on it."""
    return ["stimuli/alignment.json"] if path in config.get("make", [path]) else []


rule all:
    input:
        "report.html",


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
        lambda wildcards: after_check(f"features/story-{wildcards.story}_features.json"),
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
        after_check("encoding/scores.h5"),
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
