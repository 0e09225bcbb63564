package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
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
	// TokenFile has the tokens of those who may use the interface. Without it the interface is for
	// this machine only. In a file a relative path starts at the file's directory.
	TokenFile string `yaml:"tokenFile"`
	// ProbeListen is the address of a second listener, for the platform: /healthz, /readyz and
	// /metrics, without a token. Empty means none.
	ProbeListen string `yaml:"probeListen"`
	// LogFormat is text, json, or auto: text on a terminal and JSON elsewhere.
	LogFormat string `yaml:"logFormat"`
	// Grace is the time from the stop signal to the platform's SIGKILL.
	Grace time.Duration `yaml:"grace"`
	// Concurrency bounds how many tasks run at once.
	Concurrency int `yaml:"concurrency"`
	// Retention is for how long ended tasks are kept whose kind does not say it.
	Retention time.Duration `yaml:"retention"`
	// KnownKindsOnly refuses tasks of kinds that no running worker knows.
	KnownKindsOnly bool `yaml:"knownKindsOnly"`
	// DemoKinds offers hash-tree and gzip-tree.
	DemoKinds bool `yaml:"demoKinds"`
	// DemoDir bounds these kinds: they read and write below it alone. In a file a relative path
	// starts at the file's directory.
	DemoDir string `yaml:"demoDir"`
	// Kinds are the kinds whose handlers are programs, by name.
	Kinds map[string]kindConfig `yaml:"kinds"`

	file      configFile      // where it was read
	storeFile string          // whence Store came; or ""
	programs  []execkind.Kind // what Kinds say
}

// readConfig reads a file. The error has every problem of the file with its line.
func readConfig(path string) (config, error) {
	var c config
	faults, err := c.read(path)
	if err != nil {
		return c, err
	}
	if len(faults) > 0 {
		return c, c.file.located(faults)
	}
	if file, ok := strings.CutPrefix(c.Store, "sqlite:"); ok && file != "" && !filepath.IsAbs(file) {
		c.Store = "sqlite:" + filepath.Join(filepath.Dir(path), file)
	}
	return c, nil
}

// read reads a file, and finds what is wrong with it whatever the flags say.
func (c *config) read(path string) ([]fault, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	faults := c.decode(path, b)
	if len(faults) == 0 && c.Version != 1 {
		text := fmt.Sprintf("version is %d, this program reads version 1: write \"version: 1\"", c.Version)
		faults = append(faults, fault{key: []string{"version"}, text: text})
	}
	for _, name := range []*string{&c.TokenFile, &c.DemoDir} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(path), *name)
		}
	}
	var wrong []fault
	c.programs, wrong = programs(c.Kinds, path)
	return append(faults, c.file.elsewhere(wrong, faults)...), nil
}

// complete fills in defaults and refuses what cannot work.
func (c *config) complete() error {
	if c.Store == "" {
		return errors.New("no store given: use --store sqlite:PATH or --store postgres://USER@HOST/DATABASE, LASTCALL_STORE, or store: in the config file")
	}
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	for _, f := range c.faults() { // flags may have said it, so it has no line
		return errors.New(f.text)
	}
	return nil
}

// faults finds what cannot work, whether it came from a file or from flags.
func (c *config) faults() []fault {
	var all []fault
	add := func(key, text string, args ...any) {
		all = append(all, fault{key: []string{key}, text: fmt.Sprintf(text, args...)})
	}
	if c.Grace < 0 {
		add("grace", "grace is %v: use a positive duration, as 30s", c.Grace)
	}
	if c.Grace > 0 && c.Grace < minGrace {
		add("grace", "grace is %v, less than %s: no stop fits into that; use what terminationGracePeriodSeconds or TimeoutStopSec say", c.Grace, spoken(minGrace))
	}
	if c.Grace > maxGrace {
		add("grace", "grace is %v, longer than %s: no platform waits for that; use what terminationGracePeriodSeconds or TimeoutStopSec say", c.Grace, spoken(maxGrace))
	}
	if c.Concurrency < 0 {
		add("concurrency", "concurrency is %d: use a positive number, or leave it out for 10", c.Concurrency)
	}
	if c.Concurrency > maxCount {
		add("concurrency", "concurrency is %d, more than %d: is that meant?", c.Concurrency, maxCount)
	}
	if c.Retention != 0 && (c.Retention < minRetention || c.Retention > maxRetention) {
		add("retention", "retention is %v: use from %s to %s, or leave it out for 7 days", c.Retention, spoken(minRetention), spoken(maxRetention))
	}
	if c.Listen != "" {
		if err := checkListen(c.Listen, c.TokenFile != ""); err != nil {
			add("listen", "%v", err)
		}
	}
	if c.ProbeListen != "" {
		if _, _, err := net.SplitHostPort(c.ProbeListen); err != nil {
			add("probeListen", "probeListen %q: %v: write it as :8322", c.ProbeListen, err)
		}
	}
	if !slices.Contains([]string{"", logAuto, logText, logJSON}, c.LogFormat) {
		add("logFormat", "logFormat %q: use text, json or auto", c.LogFormat)
	}
	return append(all, c.demoFaults()...)
}

// checkListen refuses an address that other machines can reach, unless there are tokens: whoever
// reaches the interface can start tasks.
func checkListen(listen string, tokens bool) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen %q: %w: write it as %s", listen, err, defaultListen)
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > 65535) {
		return fmt.Errorf("listen %q: port %d does not exist: use one from 1 to 65535, or 0 for any free one", listen, n)
	}
	if tokens || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen %q is not a loopback address: whoever can reach it could start tasks; say with --token-file (tokenFile:) who may, or use %s", listen, defaultListen)
}

// isLoopback reports whether a host, without its port, is this machine only.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}
