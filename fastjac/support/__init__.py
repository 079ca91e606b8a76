"""What every storey may use: arguments and attributes checked, errors, whole files, cores, threads, forks."""
