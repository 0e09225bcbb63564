package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// defaultDemoDir is where a demonstration keeps its files: in the user's directory for state. In a
// directory that all users share, somebody else could have created it.
func defaultDemoDir() string {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "lastcall-demo")
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "lastcall-demo")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("lastcall-demo-%d", os.Getuid()))
}

// privateDir creates a directory that is this user's alone, and returns its path without symbolic
// links. A directory that exists already must be this user's alone too: what others had put into it
// would be processed with this user's rights.
func privateDir(dir string) (string, error) {
	const another = "name another directory with --dir, or one that does not exist yet"
	parent, err := filepath.Abs(filepath.Dir(dir))
	if err == nil {
		err = os.MkdirAll(parent, 0o700)
	}
	if err == nil {
		parent, err = filepath.EvalSymlinks(parent)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, another)
	}
	for at := parent; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err != nil {
			return "", err
		}
		if open := info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0; ownersOnly && (open || !trusted(info)) {
			return "", fmt.Errorf("another user can change what is in %s: %s", at, another)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if err := os.Mkdir(dir, 0o700); err == nil {
		return dir, os.Chmod(dir, 0o700) //nolint:gosec // independent of the umask
	} else if !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%w: %s", err, another)
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("%s is a link or a file, perhaps of somebody else: %s", dir, another)
	case ownersOnly && !mine(info):
		return "", fmt.Errorf("%s belongs to another user, whose tasks would run with your rights: %s", dir, another)
	case ownersOnly && info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s is open to others (mode %#o), whose tasks would run with your rights: chmod 700 it if all of it is yours, or %s", dir, info.Mode().Perm(), another)
	}
	return dir, nil
}
