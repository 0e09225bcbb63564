package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

// licenseFile matches the names of files that licences require to be distributed with a program.
var licenseFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|notice|copyright|patents|authors)s?([-._].*)?$`)

// copyLicenses copies the licence texts of everything that is linked into a program into a
// directory. Each text is at its module's path and version, followed by its path in the module: a
// module may contain code of others with licences of their own.
func copyLicenses(to, module string, info *debug.BuildInfo) error {
	dirs, err := moduleDirs(module)
	if err != nil {
		return err
	}
	for _, m := range linked(info) {
		dir, version := dirs[m.Path].Dir, dirs[m.Path].Version
		if dir == "" || m.Version != "" && m.Version != version {
			return fmt.Errorf("%s %s is linked, and %s has version %q of it: name the go.mod that the program was built with",
				m.Path, m.Version, module, version)
		}
		into := filepath.Join(to, filepath.FromSlash(m.Path))
		if m.Version != "" {
			into += "@" + m.Version
		}
		n, err := copyTexts(into, dir, m.Version != "")
		if err == nil && n == 0 {
			err = errNoLicense
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	root, err := output(module, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	n, err := copyTexts(filepath.Join(to, "std@"+info.GoVersion), strings.TrimSpace(string(root)), false)
	if err == nil && n == 0 {
		err = errNoLicense
	}
	if err != nil {
		return fmt.Errorf("the standard library: %w", err)
	}
	return nil
}

// copyTexts copies the licence texts in a directory, and if deep is true also those below it. It
// returns their number.
func copyTexts(to, from string, deep bool) (n int, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != from && (!deep || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !licenseFile.MatchString(d.Name()) || strings.HasSuffix(d.Name(), ".go") {
			return nil
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		n++
		return copyFile(filepath.Join(to, relative), path)
	})
	return n, err
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // all users may read it
		return err
	}
	return os.WriteFile(to, text, 0o644) //nolint:gosec // all users may read it
}

type moduleDir struct {
	Path, Version, Dir string
	Replace            *struct{ Path, Version, Dir string }
}

// moduleDirs returns the directories of the modules of a go.mod, by their paths and by the paths of
// their replacements.
func moduleDirs(module string) (map[string]moduleDir, error) {
	out, err := output(module, "go", "list", "-m", "-json", "all")
	if err != nil {
		return nil, err
	}
	dirs := make(map[string]moduleDir)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m moduleDir
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return dirs, nil
		} else if err != nil {
			return nil, fmt.Errorf("what go list printed: %w", err)
		}
		dirs[m.Path] = m
		if r := m.Replace; r != nil && r.Version != "" {
			dirs[r.Path] = moduleDir{Path: r.Path, Version: r.Version, Dir: m.Dir}
		}
	}
}

// output runs a command in the directory of a go.mod, without a workspace.
func output(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, exit.Stderr)
	}
	return out, err
}
