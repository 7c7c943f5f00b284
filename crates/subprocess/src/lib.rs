//! Runs child processes as groups: deadlines, log files, last lines, records of what still runs.
