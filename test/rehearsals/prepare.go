package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// prepare builds and fetches what a server needs.
func (r *runner) prepare(ctx context.Context, s *server) error {
	if s.module != "" {
		return r.build(ctx, s.module)
	}
	if s.node {
		return r.install(ctx)
	}
	return nil
}

// build builds a program of the module in testdata/go, which no workspace knows: what it fetches is
// for the page alone.
func (r *runner) build(ctx context.Context, name string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(r.work, "go", name), "./"+name)
	cmd.Dir, cmd.Env = filepath.Join(r.data, "go"), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// install puts npm's packages beside a copy of testdata/node, at the versions of its lock file.
func (r *runner) install(ctx context.Context) error {
	dir := filepath.Join(r.work, "node")
	if err := os.RemoveAll(filepath.Join(dir, "package-lock.json")); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // nothing in it is secret
		return err
	}
	files, err := os.ReadDir(filepath.Join(r.data, "node"))
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(r.data, "node", f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", dir, err, out)
	}
	return nil
}
