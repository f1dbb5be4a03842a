# Identification: which stretch of a story was heard, in listeners held out.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


rule all:
    input:
        "identification/scores.json",


rule identify:
    output:
        "identification/similarity.h5",
        "identification/scores.csv",
        "identification/scores.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" decode {FOLDER}/config.json"
