// Command helper contains the additional programs that the tests run in containers: the pause
// process of a pod, a preStop hook, and three programs for tasks. It is static, like everything in
// these images.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 0: // the pause process
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		<-c
		return nil
	case args[0] == "sleep" && len(args) == 2:
		d, err := time.ParseDuration(args[1])
		time.Sleep(d)
		return err
	case args[0] == "steps" && len(args) == 3:
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return steps(args[1], n)
	case args[0] == "unresponsive" && len(args) == 2:
		return unresponsive(args[1])
	case args[0] == "hog" && len(args) == 2:
		return hog(args[1])
	}
	return fmt.Errorf("unknown arguments %q", args)
}

// steps does n steps. It records each step in the ledger DIR/ID and then in its checkpoint, from
// which it resumes. A step takes a tenth of a second, until there is a file DIR/fast.
func steps(dir string, n int) error {
	checkpoint := os.Getenv("LASTCALL_CHECKPOINT")
	done := 0
	if saved, err := os.ReadFile(checkpoint); err == nil && len(saved) > 0 {
		if done, err = strconv.Atoi(strings.TrimSpace(string(saved))); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ledger, err := os.OpenFile(dir+"/"+os.Getenv("LASTCALL_TASK_ID"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer ledger.Close()
	for ; done < n; done++ {
		if _, err := os.Stat(dir + "/fast"); err != nil {
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := fmt.Fprintf(ledger, "%d\n", done); err != nil {
			return err
		}
		if err := os.WriteFile(checkpoint+".new", []byte(strconv.Itoa(done+1)), 0o600); err != nil {
			return err
		}
		if err := os.Rename(checkpoint+".new", checkpoint); err != nil {
			return err
		}
	}
	return nil
}

// unresponsive ignores SIGTERM in its first run. It reports that it is running with the file
// DIR/started. Its second run returns at once.
func unresponsive(dir string) error {
	if os.Getenv("LASTCALL_RUN") != "1" {
		return nil
	}
	signal.Ignore(syscall.SIGTERM)
	if err := os.WriteFile(dir+"/started", nil, 0o644); err != nil {
		return err
	}
	time.Sleep(10 * time.Minute)
	return nil
}

// hog allocates memory without end once there is a file DIR/hog. Its second run returns at once.
func hog(dir string) error {
	if os.Getenv("LASTCALL_RUN") != "1" {
		return nil
	}
	if err := os.WriteFile(dir+"/started", nil, 0o644); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(dir + "/hog"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	var all [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
		if len(all) > 4096 {
			return errors.New("4 GiB were there: no limit holds")
		}
	}
}
