# Decoding: learn one listener's decoder, search for the words, judge them beside nulls.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# A search that was killed goes on after its last word, null decodes after the last finished one.

COMMAND = config["command"]  # starts where `neurolm run` was started, with the threads pinned
FOLDER = config["folder"]


rule all:
    input:
        "report.html",


rule fit:
    output:
        "decoding/decoder.h5",
        "decoding/fit.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" decode {FOLDER}/config.json --stage fit"


rule search:
    input:
        "decoding/decoder.h5",
    output:
        "decoding/words.csv",
        "decoding/words.TextGrid",
        "decoding/search.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" decode {FOLDER}/config.json --stage search"


rule evaluate:
    input:
        "decoding/words.csv",
    output:
        "decoding/scores.csv",
        "decoding/scores.json",
        "report.html",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 16000 * attempt,
        runtime=lambda wildcards, attempt: 1440 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" decode {FOLDER}/config.json --stage evaluate"
