"""ACH: Nacha files, written and read by ourselves, since no kept library writes valid ones."""
