package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// announce prints the address and, where it works as printed, a line to paste: whoever reads the log
// of a server that asks for a token is on another machine, and has one of their own.
func announce(out io.Writer, addr string, c config) error {
	fmt.Fprintf(out, "lastcall serves %s on http://%s\n", shownStore(c.Store), addr)
	if !c.DemoKinds && len(c.programs) > 0 || c.DemoKinds && c.TokenFile != "" {
		return nil
	}
	if !c.DemoKinds {
		fmt.Fprintln(out, "no kinds are offered: a configuration file has kinds, and --demo-kinds two to try")
		return nil
	}
	server := ""
	if addr != defaultListen {
		server = "--server http://" + addr + " "
	}
	tree, results := cmp.Or(someTree(), os.TempDir()), os.TempDir()
	if c.DemoDir != "" {
		tree, results = c.DemoDir, c.DemoDir
	}
	_, err := fmt.Fprintf(out, "to submit a task:\n  %s submit %shash-tree '{\"dir\": \"%s\", \"out\": \"%s\"}'\n",
		program(), server, tree, filepath.Join(results, "lastcall-demo.sums"))
	return err
}

// someTree is the source of Go, a tree with many files, empty where this machine has none.
func someTree() string {
	trees := []string{filepath.Join(os.Getenv("GOROOT"), "src"), "/usr/local/go/src", "/usr/lib/go/src"}
	for _, dir := range trees {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) {
			return dir
		}
	}
	return ""
}

// program is how this program can be called from a shell.
func program() string {
	self, err := os.Executable()
	if err != nil {
		return "lastcall"
	}
	if found, err := exec.LookPath("lastcall"); err == nil && found == self {
		return "lastcall"
	}
	return self
}
