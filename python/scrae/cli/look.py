"""``scrae info`` and ``scrae doctor``: what a saved model is, and the state of the installation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    info = commands.add_parser("info", help="what a saved model is")
    info.set_defaults(command=_info)
    info.add_argument("model_dir", type=Path)

    doctor = commands.add_parser("doctor", help="versions, threads, device, whether R is found")
    doctor.set_defaults(command=_doctor)


def _info(options: argparse.Namespace) -> int:
    from scrae.model.loading import read_description

    description = read_description(options.model_dir)
    summary = description["summary"]
    genes = description["genes"]
    lines = {
        "model": options.model_dir,
        "preset": description["preset"],
        "trained on": f"{summary['n_cells']:,} cells x {description['n_genes']:,} genes",
        "genes": "no names" if genes is None else ", ".join(genes[:5]) + (", ..." if len(genes) > 5 else ""),
        "epochs": f"{summary['epochs']} (best: {summary['best_epoch']}), stopped by {summary['stop_reason']}",
        "seconds": f"{summary['seconds']:.1f} on {summary['device']}, {summary['threads']} thread(s)",
        "batch key": description["batch_key"] or "none",
        "kept": ", ".join(description.get("keep", [])) or "nothing",
        "seed": description["random_state"],
        "versions": ", ".join(f"{name} {version}" for name, version in summary["versions"].items()),
    } | description["settings"]
    for name, value in lines.items():
        print(f"{name:20} {value}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from scrae import doctor

    findings = doctor.report()
    for name, finding in findings.items():
        print(f"{name:20} {finding}")
    found = doctor.problems(findings)
    for problem in found:
        print(f"problem: {problem}")
    if not found:
        print("all that scRAE needs is there")
    return 1 if found else 0
