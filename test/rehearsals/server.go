//go:build linux

package main

import "strings"

// server is one that is rehearsed in one way of starting it.
type server struct {
	// name is that of the row, the product's name first.
	name string
	// section is the part of the page in which it stands.
	section string
	// product says what is running: its version and how long that is maintained.
	product product
	// needs are commands without which it cannot be started, and installed how to get them.
	needs     []string
	installed string
	// module is the package of testdata/go that it is, and node whether npm's packages are needed.
	module string
	node   bool

	// command starts it. In it, and in the fields that follow, {{.Port}} is a free port, {{.Inner}}
	// another one, {{.Dir}} a folder of its own, {{.Home}} one that anybody may write, {{.Data}} that
	// of testdata, {{.Node}} that of npm's packages, and {{.Go}} that of built Go programs.
	command []string
	env     []string
	files   map[string]string
	// before runs before the rehearsal. alongside runs outside of it for as long as it takes: what a
	// proxy forwards to, or the proxy before a server. It gets {{.Inner}} as PORT.
	before, alongside []string
	// target are the flags that say what clients ask for.
	target []string
	// signal is what its image or its documentation has as the stop signal; TERM if it is empty.
	signal string

	// documented says what the documentation promises for a stop, and source where.
	documented, source string
	// why says in a sentence why the findings are what they are, where that needs to be said.
	why string
	// want are the findings of the server as it is, and wantDelayed those with a preStop hook that
	// sleeps for longer than clients go on connecting.
	want, wantDelayed findings
}

// findings are the codes of a rehearsal, apart by spaces, and the exit code.
type findings struct {
	fails, warns string
	exit         int
}

// product is what is installed, and who maintains it until when.
type product struct {
	name string
	// version prints it, and the first group of pattern is the version.
	version []string
	pattern string
	// line is the release line to which ends belongs, such as 1.22: another one needs another entry.
	line string
	// ends is the day after which upstream mends nothing, as 2026-04-30, or empty where none is set;
	// endsSource is where that is said.
	ends, endsSource string
	// old: upstream maintains newer releases alone.
	old bool
}

// signalName is the stop signal's whole name.
func (s *server) signalName() string {
	if s.signal == "" {
		return "SIGTERM"
	}
	return "SIG" + s.signal
}

// slug is the row's name in names of files.
func (s *server) slug() string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r == ' ', r == '-', r == '.':
			return '-'
		}
		return -1
	}, strings.ToLower(s.name))
}
