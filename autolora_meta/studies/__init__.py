"""The engine: plan, jobs, ledger, table and contrasts; a run is a study of one point."""
