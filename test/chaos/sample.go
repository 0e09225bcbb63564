//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// sample records the resources of the processes and the size of the tables once a second.
func (r *run) sample(ctx context.Context) {
	for wire.Pause(ctx, time.Second) {
		for _, s := range r.workers {
			if p := s.current(); p != nil && p.alive() {
				if v, err := usage(p); err == nil { // an error means that it has ended meanwhile
					r.rec.add(history.Event{Sample: &v})
				}
			}
		}
		if tables := r.store.sizes(ctx); len(tables) > 0 {
			r.rec.add(history.Event{Sample: &history.Sample{Tables: tables}})
		}
	}
}

// usage reads the memory and the open files of a process.
func usage(p *process) (history.Sample, error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.pid()))
	v := history.Sample{Process: p.name}
	b, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return v, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return v, fmt.Errorf("%s/statm is not understood", dir)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return v, err
	}
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return v, err
	}
	v.RSS, v.Files = pages*int64(os.Getpagesize()), len(files)
	return v, nil
}

// leftProcesses lists the processes that the run has started, directly or not, and that still
// exist.
func (r *run) leftProcesses() (left []string) {
	for _, pid := range marked(r.mark()) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended meanwhile
		}
		left = append(left, fmt.Sprintf("process %d: %s", pid, bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '})))
	}
	return left
}

// marked returns the processes with a variable in their environment, except zombies.
func marked(variable string) (pids []int) {
	found, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is valid
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, b...), append(append([]byte{0}, variable...), 0)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
