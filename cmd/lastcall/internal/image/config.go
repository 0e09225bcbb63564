package image

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/rehearse"
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
		i.StopSignal, err = rehearse.ParseSignal(said.StopSignal)
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
