//go:build linux

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// canMount returns an error if this process may not mount a small disk.
var canMount = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "chaos-mount-")
	if err != nil {
		return err
	}
	err = syscall.Mount("none", dir, "tmpfs", 0, "size=64k")
	if err != nil {
		err = fmt.Errorf("it may not mount a small disk: run it as root, outside of a container that forbids it: %w", err)
	} else {
		err = syscall.Unmount(dir, 0)
	}
	return errors.Join(err, os.Remove(dir))
})

// mount mounts a file system of a given size, in memory, at a new directory.
func mount(dir string, mib int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syscall.Mount("none", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("mode=755,size=%dm", mib))
}

// Remove removes a directory of a run, and unmounts what is mounted in it.
func Remove(dir string) (err error) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return err
	}
	defer mounts.Close()
	var below []string
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && strings.HasPrefix(fields[1]+"/", dir+"/") {
			below = append(below, fields[1])
		}
	}
	err = lines.Err()
	for _, path := range slices.Backward(below) {
		err = errors.Join(err, syscall.Unmount(path, syscall.MNT_DETACH))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// smallDisks puts the server's data and its log on disks of their own.
func (c *Cluster) smallDisks(setup *pgtest.Setup) error {
	if err := canMount(); err != nil {
		return err
	}
	data, wal := filepath.Join(setup.Parent, "data"), filepath.Join(setup.Parent, "wal")
	if err := errors.Join(mount(data, 256+c.opts.Room), mount(wal, 64)); err != nil {
		return err
	}
	setup.Data, setup.WAL, setup.SegmentMB = filepath.Join(data, "data"), filepath.Join(wal, "wal"), 1
	setup.Settings = append(setup.Settings, "max_wal_size=24MB", "min_wal_size=4MB")
	return os.Mkdir(setup.WAL, 0o700)
}

// fillDisk fills one of the server's disks.
func (c *Cluster) fillDisk(ctx context.Context, name string) (ending, error) {
	s := c.server()
	if !c.happens(DiskFullData, DiskFullWAL) {
		return nil, errors.New("the server is not on small disks: the fault was not asked for when it was started")
	}
	empty, err := fill(filepath.Join(filepath.Dir(s.Host()), name))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (string, error) {
		if err := empty(); err != nil {
			return "", err
		}
		return c.revive(ctx, s)
	}, nil
}

// revive waits until a server accepts connections, and starts it if it has ended by itself.
func (c *Cluster) revive(ctx context.Context, s *pgtest.Server) (detail string, err error) {
	for {
		select {
		case <-s.Done():
			if detail != "" {
				return detail, err
			}
			detail, err = "the server had ended", c.start(ctx, s)
		default:
			conn, err := pgx.Connect(ctx, s.DSN(Database))
			if err == nil {
				return detail, conn.Close(ctx)
			}
			if !pause(ctx, again) {
				return detail, err
			}
		}
	}
}

// fill fills a disk, and keeps it full until empty is called.
func fill(dir string) (empty func() error, err error) {
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	more := func() (err error) {
		for _, size := range []int{1 << 16, 1 << 12} {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, size))
			}
		}
		if errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		return err
	}
	if err := more(); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	filling, enough := context.WithCancel(context.Background())
	var filler sync.WaitGroup
	var trouble error
	filler.Go(func() {
		for trouble == nil && pause(filling, again) {
			trouble = more()
		}
	})
	return func() error {
		enough()
		filler.Wait()
		return errors.Join(trouble, f.Close(), os.Remove(path))
	}, nil
}
