// Package server provides the databases of a chaos run and the faults in them. A Cluster is
// PostgreSQL, with standbys, a pooler, small disks and a clock of its own. A File is the place of a
// SQLite store. Begin starts a fault by its kind and returns the function that ends it. A fault
// ends by itself after its longest time, and Close ends those that are left.
//
// Everything is on Unix sockets, in the directory of the run. The machine's clock and settings are
// not touched. Servers, poolers and helpers end with the process that has started them, however
// that ends. A killed process can only leave directories and mounts in the run's directory; Remove
// removes these.
package server
