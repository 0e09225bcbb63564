package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// defaultPath is what container runtimes take where an image says none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Healthcheck is a HEALTHCHECK with a command. What it does not say is as Docker takes it.
type Healthcheck struct {
	// Command is what is executed; one for a shell begins with /bin/sh -c.
	Command                                             []string
	Interval, Timeout, StartPeriod, StartPeriodInterval time.Duration
	Retries                                             int
}

type healthConfig struct {
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// configure takes what is needed out of the configuration, with the users that are in the files.
func (i *Image) configure(c config, t *tree) error {
	said := c.Config
	i.Entrypoint, i.Cmd, i.Dir = said.Entrypoint, said.Cmd, said.WorkingDir
	var home string
	var err error
	if i.User, i.Group, i.Groups, home, err = t.user(said.User); err != nil {
		return err
	}
	i.Env = said.Env
	for _, fallback := range []string{defaultPath, "HOME=" + home, "HOSTNAME=rehearsal"} {
		name, _, _ := strings.Cut(fallback, "=")
		if !slices.ContainsFunc(i.Env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") }) {
			i.Env = append(i.Env, fallback)
		}
	}
	for _, text := range slices.Concat(i.Env, i.Entrypoint, i.Cmd, []string{i.Dir}) {
		if strings.Contains(text, "\x00") {
			return fmt.Errorf("its configuration has a zero byte in %q", text)
		}
	}
	for port := range said.ExposedPorts {
		number, protocol, _ := strings.Cut(port, "/")
		if n, err := strconv.Atoi(number); err == nil && n > 0 && n < 1<<16 && (protocol == "" || protocol == "tcp") {
			i.Ports = append(i.Ports, n)
		}
	}
	slices.Sort(i.Ports)
	i.Healthcheck = said.Healthcheck.read()
	if said.StopSignal != "" {
		i.StopSignal, err = ParseSignal(said.StopSignal)
	}
	return err
}

// read is nil where nothing is to be executed.
func (h *healthConfig) read() *Healthcheck {
	if h == nil || len(h.Test) < 2 {
		return nil
	}
	command := h.Test[1:]
	switch h.Test[0] {
	case "CMD":
	case "CMD-SHELL":
		command = append([]string{"/bin/sh", "-c"}, command...)
	default: // NONE
		return nil
	}
	orDefault := func(d, value time.Duration) time.Duration {
		if d <= 0 {
			return value
		}
		return d
	}
	const usual = 30 * time.Second
	check := &Healthcheck{Command: command, Interval: orDefault(h.Interval, usual), Timeout: orDefault(h.Timeout, usual),
		StartPeriod: h.StartPeriod, StartPeriodInterval: orDefault(h.StartInterval, 5*time.Second), Retries: h.Retries}
	if check.Retries <= 0 {
		check.Retries = 3
	}
	return check
}

// signals are those that STOPSIGNAL names, with their numbers on Linux.
var signals = map[string]syscall.Signal{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12,
	"PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23,
	"XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
}

// ParseSignal reads a signal as STOPSIGNAL and a pod's lifecycle.stopSignal have it: SIGTERM, TERM,
// 15 or SIGRTMIN+3.
func ParseSignal(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if n, ok := signals[name]; ok {
		return n, nil
	}
	for _, base := range []string{"RTMIN+", "RTMAX-"} {
		more, ok := strings.CutPrefix(name, base)
		n, err := strconv.Atoi(more)
		if !ok || err != nil || n < 0 || n > 30 {
			continue
		}
		if base == "RTMAX-" {
			n = -n
		}
		return signals[base[:5]] + syscall.Signal(n), nil
	}
	return 0, fmt.Errorf("the stop signal %q is none that Linux has", text)
}
