// Package attack has tests that try what must not succeed, with the real program: `make attack`.
//
// There is a file for each surface: PostgreSQL, programs of exec kinds, files, what is shipped, and
// HTTP. The attackers are other users of the machine, roles of the database, clients with a token
// or without, and hostile, a program of an exec kind that knows the tricks in hostile/.
//
// Everything stays on this machine's loopback addresses and below one directory. Servers and what
// they start run as users that own nothing else, in cgroups with limits of memory and processes and
// with limits of files and disk. A supervisor, which is the parent of the process with the tests,
// kills and removes what is left however that one ends (harness_test.go).
package attack
