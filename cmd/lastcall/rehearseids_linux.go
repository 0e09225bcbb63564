//go:build !norehearse

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
)

// subordinate are the ranges of ids that this machine lets a user give to the users and groups of
// containers.
type subordinate struct{ users, groups idRange }

type idRange struct{ first, size int }

// findSubordinate returns the ranges of the present user, or the reason why there are none.
func findSubordinate() (*subordinate, error) {
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed (package uidmap)", tool)
		}
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	users, err := readRange("/etc/subuid", me)
	if err != nil {
		return nil, err
	}
	groups, err := readRange("/etc/subgid", me)
	if err != nil {
		return nil, err
	}
	return &subordinate{users, groups}, nil
}

// readRange finds a range of a user that is large enough: see subuid(5).
func readRange(file string, who *user.User) (idRange, error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return idRange{}, err
	}
	for line := range strings.Lines(string(text)) {
		name, numbers, _ := strings.Cut(strings.TrimSpace(line), ":")
		first, size, _ := strings.Cut(numbers, ":")
		from, err := strconv.Atoi(first)
		many, errSize := strconv.Atoi(size)
		if (name == who.Username || name == who.Uid) && err == nil && errSize == nil && from > 0 && many >= rehearse.ImageOwners {
			return idRange{from, many}, nil
		}
	}
	return idRange{}, fmt.Errorf("%s gives %s no range of %d ids (usermod --add-subuids and --add-subgids)", file, who.Username, rehearse.ImageOwners)
}

// mapWithin bounds the time that the tools for the maps may take.
const mapWithin = 10 * time.Second

// give maps the ids of a process in a user namespace that has no ids yet: its root is this user,
// and the owners of images' files are those of the ranges. It does nothing for nil.
func (s *subordinate) give(ctx context.Context, pid int) error {
	if s == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, mapWithin)
	defer stop()
	for _, m := range []struct {
		tool        string
		root, first int
	}{{"newuidmap", os.Geteuid(), s.users.first}, {"newgidmap", os.Getegid(), s.groups.first}} {
		args := []string{strconv.Itoa(pid), "0", strconv.Itoa(m.root), "1", strconv.Itoa(rehearse.FirstImageOwner), strconv.Itoa(m.first), strconv.Itoa(rehearse.ImageOwners)}
		if out, err := exec.CommandContext(ctx, m.tool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", m.tool, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
