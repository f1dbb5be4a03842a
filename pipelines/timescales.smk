# Timescales: check the alignment, every estimator on its own, then the page.
#
# Thin by design: each rule calls one `neurolm` command on whole files. `neurolm run CONFIG`
# writes .neurolm/plan.json (read here as `config`) and starts this file in the output folder.
# Estimators are independent of one another: on a cluster they run at once.

wildcard_constraints:
    estimator="[a-z]+",

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


rule map:
    input:
        lambda wildcards: after_check(f"timescales/{wildcards.estimator}.json"),
    output:
        "timescales/{estimator}.json",
    threads: config["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
        gpu=config["gpus"],
    shell:
        COMMAND + f" timescales map {FOLDER}/config.json --estimator {{wildcards.estimator}} --no-report"


rule report:
    input:
        "stimuli/alignment.json",
        expand("timescales/{estimator}.json", estimator=config["estimators"]),
    output:
        "report.html",
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    shell:
        COMMAND + f" timescales report {FOLDER}/config.json"
