# Contrast: check the alignment, two kinds of items in silico, and the page.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


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


rule contrast:
    input:
        "stimuli/alignment.json",
    output:
        "contrast/contrast.json",
        "report.html",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" timescales contrast {FOLDER}/config.json"
