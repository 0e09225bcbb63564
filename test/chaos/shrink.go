//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// shrink looks for a shorter schedule that still breaks a rule.
func (s *supervisor) shrink(opt options) error {
	schedule := filepath.Join(opt.dir, "schedule.json")
	if opt.again > 1 {
		schedule = filepath.Join(opt.dir, "run-1", "schedule.json")
	}
	faults, err := readSchedule(schedule)
	if err != nil {
		return err
	}
	dir := filepath.Join(opt.dir, "shrink")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	result := filepath.Join(opt.dir, "shrunk.json")
	deadline := time.Now().Add(opt.shrink)
	fails := func(some []Fault) (broken bool, err error) {
		if s.stopped || time.Now().After(deadline) {
			return false, errNoTime
		}
		candidate := filepath.Join(dir, "candidate.json")
		if err := writeSchedule(candidate, some); err != nil {
			return false, err
		}
		code, err := s.run(dir, candidate, io.Discard)
		fmt.Fprintf(s.out, "with %d faults: %s\n", len(some), map[int]string{codeKept: "kept", codeBroken: "broken"}[code])
		return code == codeBroken, err
	}
	fmt.Fprintf(s.out, "\nlooking for a shorter schedule for %v\n", opt.shrink)
	shorter, err := shorten(faults, fails)
	if err != nil && err != errNoTime { //nolint:errorlint // ours, as it is
		return err
	}
	if err := writeSchedule(result, shorter); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%d of %d faults are left, in %s:\n", len(shorter), len(faults), result)
	for _, f := range shorter {
		fmt.Fprintln(s.out, f)
	}
	return nil
}

var errNoTime = fmt.Errorf("the time for it is over")

// shorten removes faults from a schedule while it still fails without them: halves, quarters, and
// so on down to single faults. When fails returns an error, shorten returns its shortest schedule
// so far with that error.
func shorten(faults []Fault, fails func([]Fault) (bool, error)) ([]Fault, error) {
	for size := (len(faults) + 1) / 2; size > 0 && len(faults) > 0; {
		shorter := false
		for at := 0; at < len(faults); {
			end := min(at+size, len(faults))
			rest := append(append([]Fault{}, faults[:at]...), faults[end:]...)
			broken, err := fails(rest)
			if err != nil {
				return faults, err
			}
			if broken {
				faults, shorter = rest, true
			} else {
				at = end
			}
		}
		switch {
		case size > 1:
			size = (size + 1) / 2
		case !shorter:
			return faults, nil
		}
	}
	return faults, nil
}
