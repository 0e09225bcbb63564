package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// announce prints the address of the server, and a command to paste where that works as printed.
// With a token file it does not: the reader of the log is on another machine and has a token of
// their own.
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

// someTree is a tree with many files, the source of Go; empty where this machine has none.
func someTree() string {
	trees := []string{filepath.Join(os.Getenv("GOROOT"), "src"), "/usr/local/go/src", "/usr/lib/go/src"}
	for _, dir := range trees {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) {
			return dir
		}
	}
	return ""
}

// program returns the name by which this program can be called from a shell.
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
