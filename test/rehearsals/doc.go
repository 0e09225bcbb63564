// Command rehearsals rehearses well-known servers with the program lastcall, built as it is for
// users, and writes docs/rehearsals.md from the results: make rehearsals.
//
// The table of servers (the files servers*.go) has for each server how it is started, what its
// documentation promises for a stop and where, and which findings are expected. A run with other
// findings exits with 1: either the server has changed, or the rehearsal is wrong.
//
// Debian's packages are installed by hand, with apt-get install --no-install-recommends. Packages
// from npm and the Go module proxy are fetched into the folder of -dir. A server that is not
// installed is skipped, and keeps its earlier results on the page.
package main
