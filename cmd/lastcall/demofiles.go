package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// pace returns how fast each task may read, in bytes a second, so that all of them together take as
// long as --at-least: every slot of every worker reads that fast all the time.
func (d *demonstration) pace(dirs []string) (bytesPerSecond int64, err error) {
	sizes := make(map[string]int64)
	var total int64
	for i := range demoTasks {
		dir := dirs[i/2%len(dirs)]
		if _, ok := sizes[dir]; !ok {
			if sizes[dir], err = sizeOf(dir); err != nil {
				return 0, err
			}
		}
		total += sizes[dir]
	}
	slots := float64(d.concurrency * d.workers)
	return max(int64(float64(total)/d.atLeast.Seconds()/slots), 1), nil
}

// sizeOf returns the length of all files in a directory and below. It skips what cannot be read or
// is gone: that is left to the task.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total, err
}

const (
	madeDirs, madeFiles = 25, 8
	madeSize            = 64 << 10
)

// makeFiles creates a tree to work on: text of random words, the same each time. It writes again
// what is there already, since that may be incomplete.
func makeFiles(tree string) error {
	words := []string{"task", "worker", "store", "signal", "grace", "checkpoint", "queue", "deploy", "pod", "retry"}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // it makes text, and no secrets
	for i := range madeDirs {
		dir := filepath.Join(tree, "part"+strconv.Itoa(i+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		for j := range madeFiles {
			var text bytes.Buffer
			for text.Len() < madeSize {
				text.WriteString(words[random.IntN(len(words))])
				text.WriteByte(' ')
			}
			if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(j+1)+".txt"), text.Bytes(), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
