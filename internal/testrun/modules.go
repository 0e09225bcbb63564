package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// A module is one directory in go.work.
type module struct {
	name string // as in go.work, without "./"; "." is the library
	dir  string
}

// findModules returns the modules of root's go.work that exist, or only the root
// module if there is no go.work. If go.work names a directory that does not exist, every
// go command that reads go.work fails, so the check "workspace" still fails then.
func findModules(root string) ([]module, error) {
	work := filepath.Join(root, "go.work")
	if _, err := os.Stat(work); errors.Is(err, fs.ErrNotExist) {
		return []module{{".", root}}, nil
	}
	cmd := exec.CommandContext(context.Background(), "go", "work", "edit", "-json", work)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go work edit -json %s: %w", work, describeExit(err))
	}
	var parsed struct{ Use []struct{ DiskPath string } }
	if err := json.Unmarshal(out, &parsed); err != nil {
		return nil, fmt.Errorf("reading what go work edit -json %s printed: %w", work, err)
	}
	var modules []module
	for _, use := range parsed.Use {
		dir := filepath.Join(root, filepath.FromSlash(use.DiskPath))
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			modules = append(modules, module{filepath.ToSlash(filepath.Clean(use.DiskPath)), dir})
		}
	}
	if len(modules) == 0 {
		return nil, fmt.Errorf("%s uses no directory that has a go.mod", work)
	}
	return modules, nil
}

// describeExit adds a command's standard error to its error.
func describeExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}
