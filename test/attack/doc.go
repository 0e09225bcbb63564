// Package attack has tests that try, with the real program, what must not succeed: `make attack`.
//
// There is a file for each surface: PostgreSQL, programs of exec kinds, files, the shipped
// configuration, and HTTP. The attackers are other users of the machine, roles of the database,
// clients with or without a token, and "hostile", a program of an exec kind that knows the tricks
// in hostile/.
//
// Everything stays on this machine's loopback addresses and below one directory. Servers and the
// programs they start run as users that own nothing else, in cgroups with limits for memory and
// processes, and with limits for files and disk. A supervisor, the parent of the test process,
// kills and removes what is left, however the test process ends (harness_test.go).
package attack
