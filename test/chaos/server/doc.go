// Package server has the databases of a chaos run and the faults in them: a Cluster is PostgreSQL,
// with standbys, a pooler, small disks and a clock of its own; a File is where a SQLite store is. A
// fault is begun by its kind and ended by the function that this returns; it ends by itself when it
// has taken its longest time, and Close ends what is left.
//
// Everything is on Unix sockets, in the directory that the run gives. The machine's clock and
// settings are not touched. Servers, poolers and helpers end with the process that has started
// them, however that ends; what a killed process can leave are directories and mounts in the run's
// directory, and Remove removes these.
package server
