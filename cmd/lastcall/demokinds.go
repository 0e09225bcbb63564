package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/demo"
	"github.com/lastcall-go/lastcall/task"
)

// demoFaults finds what cannot work with the demonstration kinds. They read and write the files
// that a payload names, so every client that may submit has the rights of the server. Therefore
// they are for this machine alone, or for a directory that confines them.
func (c *config) demoFaults() []fault {
	var all []fault
	add := func(key, text string, args ...any) {
		all = append(all, fault{key: []string{key}, text: fmt.Sprintf(text, args...)})
	}
	if !c.DemoKinds {
		if c.DemoDir != "" {
			add("demoDir", "demoDir bounds the demonstration kinds, which are off: say --demo-kinds (demoKinds: true) too, or leave it out")
		}
		return all
	}
	for _, name := range []string{demo.HashTree.Name, demo.GzipTree.Name} {
		if _, ok := c.Kinds[name]; ok {
			add("kinds", "kind %s: a demonstration kind has that name: choose another one, or do without demoKinds", name)
		}
	}
	if c.DemoDir == "" {
		if host, _, err := net.SplitHostPort(c.Listen); c.TokenFile != "" || c.Listen != "" && err == nil && !isLoopback(host) {
			add("demoKinds", "demoKinds: they read and write whatever file a task names, so a token that may submit could write over the token file or the store: bound them with --demo-dir DIR (demoDir:), a directory of their own, or leave them out")
		}
		return all
	}
	info, err := os.Stat(c.DemoDir)
	switch {
	case err != nil:
		add("demoDir", "demoDir: %v: make it, a directory of its own", err)
	case !info.IsDir():
		add("demoDir", "demoDir: %s is not a directory", c.DemoDir)
	}
	sqlite, _ := strings.CutPrefix(c.Store, "sqlite:")
	for _, ours := range []string{c.TokenFile, c.storeFile, sqlite} {
		if ours != "" && isBelow(ours, c.DemoDir) {
			add("demoDir", "demoDir: %s is in %s, where every task could read it: name a directory of their own", ours, c.DemoDir)
		}
	}
	return all
}

// isBelow reports whether a file is in a directory or deeper.
func isBelow(file, dir string) bool {
	rel, err := filepath.Rel(realPath(dir), realPath(file))
	return err == nil && filepath.IsLocal(rel)
}

// realPath returns an absolute path whose symbolic links are resolved as far as the path exists.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(real, filepath.Base(path))
	}
	return path
}

// offerDemoKinds registers the demonstration kinds, if the configuration asks for them.
func offerDemoKinds(g *lastcall.Group, mux *task.Mux, c config) error {
	if !c.DemoKinds {
		return nil
	}
	if c.DemoDir == "" {
		demo.Register(mux, nil)
		return nil
	}
	dir, err := filepath.Abs(c.DemoDir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("demoDir: %w", err)
	}
	g.Defer("demoDir", func(context.Context) error { return root.Close() })
	demo.Register(mux, root)
	return nil
}
