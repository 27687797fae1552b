"""What lies where in a folder of runs, and what schema it says: the names, each once.

``config.json``                 what the runs have in common, and the digest of it
``runs.jsonl``                  a record per finished run
``tuning.jsonl``                the same of runs that only chose a learning rate
``measures.jsonl``              what was measured of a trained model afterwards
``results.json``                the runs summed up; ``report.html`` shows it
``evaluation.json``             trained models measured; ``evaluation.html`` shows it
``runs/RUN_ID/history.jsonl``   a row per epoch, beside ``config.json``, the model with its card
                                ``README.md`` (``fixhead train`` adds ``reference.safetensors``)
                                and, while it runs, ``checkpoint/``
"""

from __future__ import annotations

CONFIG_FILE = "config.json"
RUNS_FILE = "runs.jsonl"
TUNING_FILE = "tuning.jsonl"
MEASURES_FILE = "measures.jsonl"
RESULTS_FILE = "results.json"
REPORT_PAGE = "report.html"
EVALUATION_FILE = "evaluation.json"
EVALUATION_PAGE = "evaluation.html"
RUN_FOLDERS = "runs"
HISTORY_FILE = "history.jsonl"
CHECKPOINT_FOLDER = "checkpoint"
MODEL_FILE = "model.safetensors"
MODEL_FACTS_FILE = "model.json"
CARD_FILE = "README.md"
REFERENCE_FILE = "reference.safetensors"

COMPARISON_SCHEMA = "fixhead.compare/1"
RUN_SCHEMA = "fixhead.run/1"
COMPUTED_SCHEMA = "fixhead.computed/1"
RESULTS_SCHEMA = "fixhead.results/1"
PAPER_SCHEMA = "fixhead.paper/1"
EVALUATION_SCHEMA = "fixhead.evaluation/1"
MODEL_SCHEMA = "fixhead.model/1"
REFERENCE_SCHEMA = "fixhead.reference/1"
EXPORT_SCHEMA = "fixhead.export/1"
CHECKPOINT_SCHEMA = "fixhead.checkpoint/1"
FEATURES_SCHEMA = "fixhead.features/1"
