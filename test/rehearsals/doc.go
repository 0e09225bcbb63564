// Command rehearsals rehearses servers that nobody here wrote with the program lastcall, as it is
// built for users, and writes docs/rehearsals.md from what it has seen: make rehearsals.
//
// The table of servers (servers.go and its neighbours) has for each how it is started, what its
// documentation promises for a stop and where, and which findings there must be. A run that finds
// others ends with 1: either the server has changed, or the rehearsal is wrong.
//
// Debian's packages are installed by hand, with apt-get install --no-install-recommends; what comes
// from npm and the Go module proxy is fetched into the folder of -dir. A server that is not here
// is left out, and keeps its place on the page with what was seen before.
package main
