# Training: train a language model; a run that was killed goes on from its last checkpoint.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


rule all:
    input:
        "report.json",


rule train:
    output:
        "model.safetensors",
        "report.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" train model {FOLDER}/.neurolm/training.json --output {FOLDER} --device {config['device']}"
