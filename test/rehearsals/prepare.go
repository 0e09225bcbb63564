//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
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

// build builds a program of the module in testdata/go, which is in no workspace: its dependencies
// are only for this page.
func (r *runner) build(ctx context.Context, name string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(r.work, "go", name), "./"+name)
	cmd.Dir, cmd.Env = filepath.Join(r.data, "go"), append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return nil
}

// install puts npm's packages into a copy of testdata/node, at the versions of its lock file, and
// builds what Next.js serves. It does nothing if that was already done with the same lock file.
func (r *runner) install(ctx context.Context) error {
	from, dir := filepath.Join(r.data, "node"), filepath.Join(r.work, "node")
	lock, err := os.ReadFile(filepath.Join(from, "package-lock.json"))
	if err != nil {
		return err
	}
	done := filepath.Join(dir, "installed")
	if before, err := os.ReadFile(done); err == nil && bytes.Equal(before, lock) {
		return copyOver(from, dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := copyOver(from, dir); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"},
		{"node", "node_modules/next/dist/bin/next", "build"},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "NEXT_TELEMETRY_DISABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v in %s: %w\n%s", command, dir, err, out)
		}
	}
	return os.WriteFile(done, lock, 0o600)
}

// copyOver copies a folder over another one.
func copyOver(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755) //nolint:gosec // nothing in it is secret
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o644) //nolint:gosec // as above
	})
}
