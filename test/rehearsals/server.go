//go:build linux

package main

// server is one way of starting a server that is rehearsed.
type server struct {
	// name is the name of its row, the product's name first.
	name string
	// section is the part of the page that it is in.
	section string
	// product is what is running: its version, and how long that is maintained.
	product product
	// needs are the commands that it needs to start, and installed is how to get them.
	needs     []string
	installed string
	// module is its package in testdata/go, and node whether it needs npm's packages.
	module string
	node   bool

	// command starts it. In command and in the fields that follow, these placeholders are replaced:
	//
	//   - {{.Port}}: a free port; {{.Inner}}: another one
	//   - {{.Dir}}: a folder of its own; {{.Home}}: one that anybody may write
	//   - {{.Data}}: the folder of testdata; {{.Node}}: that of npm's packages; {{.Go}}: that of built
	//     Go programs
	command []string
	env     []string
	files   map[string]string
	// before runs before the rehearsal. alongside runs outside of it for its whole duration: the
	// server behind a proxy, or the proxy before a server. It gets {{.Inner}} as PORT.
	before, alongside []string
	// target are the flags that say what clients ask for.
	target []string
	// signal is the stop signal of its image or its documentation; TERM if it is empty.
	signal string

	// documented is what the documentation promises for a stop, and source is its address.
	documented, source string
	// why explains the findings in a sentence, where they need it.
	why string
	// want are the findings of the server as it is, and wantDelayed those with a preStop hook that
	// sleeps for longer than clients keep connecting.
	want, wantDelayed findings
}

// findings are the codes of a rehearsal, separated by spaces, and the exit code.
type findings struct {
	fails, warns string
	exit         int
}

// product is what is installed, and who maintains it until when.
type product struct {
	name string
	// version prints the version, which is the first group of pattern.
	version []string
	pattern string
	// line is the release line to which ends belongs, such as 1.22: another one needs another entry.
	line string
	// ends is the last day on which upstream fixes bugs, as 2026-04-30, or empty if none is set;
	// endsSource is where that is published.
	ends, endsSource string
	// old: upstream maintains only newer releases.
	old bool
}

// signalName is the stop signal's whole name.
func (s *server) signalName() string {
	if s.signal == "" {
		return "SIGTERM"
	}
	return "SIG" + s.signal
}
