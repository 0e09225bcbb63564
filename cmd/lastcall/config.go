package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const defaultListen = "127.0.0.1:8321"

// config is what serve is told, by a file and by flags.
type config struct {
	// Version of the file's format: 1.
	Version int `yaml:"version"`
	// Store is the address of the tasks, as sqlite:PATH or postgres://USER@HOST/DATABASE. In a file
	// a relative path starts at the file's directory.
	Store string `yaml:"store"`
	// Migrate makes the tables in PostgreSQL, or brings them up to date.
	Migrate bool `yaml:"migrate"`
	// Listen is the address of the HTTP interface.
	Listen string `yaml:"listen"`
	// Grace is the time from the stop signal to the platform's SIGKILL.
	Grace time.Duration `yaml:"grace"`
	// Concurrency bounds how many tasks run at once.
	Concurrency int `yaml:"concurrency"`
	// DemoKinds offers hash-tree and gzip-tree.
	DemoKinds bool `yaml:"demoKinds"`
}

// readConfig reads a file. A key that it does not know is an error, with its line.
func readConfig(path string) (config, error) {
	var c config
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("config %s: %w", path, err)
	}
	if c.Version != 1 {
		return c, fmt.Errorf("config %s: version is %d, this program reads version 1: write \"version: 1\"", path, c.Version)
	}
	if file, ok := strings.CutPrefix(c.Store, "sqlite:"); ok && file != "" && !filepath.IsAbs(file) {
		c.Store = "sqlite:" + filepath.Join(filepath.Dir(path), file)
	}
	return c, nil
}

// complete fills in defaults and refuses what cannot work.
func (c *config) complete() error {
	if c.Store == "" {
		return errors.New("no store given: use --store sqlite:PATH or --store postgres://USER@HOST/DATABASE, LASTCALL_STORE, or store: in the config file")
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.Grace < 0 {
		return fmt.Errorf("grace is %v: use a positive duration, as 30s", c.Grace)
	}
	if c.Concurrency < 0 {
		return fmt.Errorf("concurrency is %d: use a positive number, or leave it out for 10", c.Concurrency)
	}
	return checkLoopback(c.Listen)
}

// checkLoopback refuses an address that other machines can reach: whoever reaches the interface can
// start tasks, and there are no tokens yet.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen %q: %w: write it as %s", listen, err, defaultListen)
	}
	if isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen %q is not a loopback address: whoever can reach it could start tasks, and this version has no access tokens; use %s, and a tunnel or an authenticating proxy from elsewhere", listen, defaultListen)
}

// isLoopback says whether a host, without its port, is this machine only.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}
