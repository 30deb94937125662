"""A fleet in one process: real workers, real registration, real jobs, and machines that die."""

from muster.simulation.fleet.options import Options
from muster.simulation.fleet.report import Report
from muster.simulation.fleet.simulation import Simulation, run

__all__ = ["Options", "Report", "Simulation", "run"]
