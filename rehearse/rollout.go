package rehearse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// second is the copy of the program that takes over in a rollout.
type second struct {
	program *program
	traffic *traffic // nil before it is ready
}

// besidePatience is how long a copy may take to become ready alongside the first one, in addition
// to four times what that one took.
const besidePatience = 5 * time.Second

// startSecond starts a second copy of the program, at another port, and waits until it is ready.
// Then clients are routed to both.
func (r *rehearsal) startSecond(ctx context.Context) error {
	if r.traffic == nil {
		return skip("it has no clients that could go on to a second copy")
	}
	c, targets, err := elsewhere(&r.config.Program, r.traffic.targets, listening(r.program.pids()))
	if err != nil {
		return err
	}
	p, err := start(c, r.config.sharePIDs)
	if err != nil {
		return err
	}
	r.second.program = p
	began := time.Now()
	r.say("second copy", "%s", strings.Join(c.Command, " "))
	for patience := besidePatience + 4*r.startup; ; {
		said, err := answers(ctx, targets)
		if err == nil {
			r.say("second ready", "%s", said)
			break
		}
		switch waited := time.Since(began); {
		case p.hasEnded():
			r.find(NotBeside, true, "the second copy ended after %.2f s, %s: %s", waited.Seconds(), p.ending(), strings.Join(p.output.lines(3), " / "))
			return errOver
		case waited > min(patience, r.config.Ready):
			r.find(NotBeside, true, "the second copy was not ready after %.2f s: %v", waited.Seconds(), err)
			return errOver
		}
		if err := r.wait(ctx, time.Now().Add(50*time.Millisecond), r.program.exited); err != nil {
			return err
		}
		if r.program.hasEnded() {
			r.find(DisturbsCopy, true, "the first copy ended when the second one started, %s", r.program.ending())
			return errOver
		}
	}
	r.second.traffic = newTraffic(targets, r.config.Rate)
	if _, err := answers(ctx, r.traffic.targets); err != nil {
		r.find(DisturbsCopy, true, "the first copy does not answer any more since the second one is ready: %v", err)
		return errOver
	}
	return nil
}

// stayedSecond checks that the second copy goes on as before after the exit of the first one.
func (r *rehearsal) stayedSecond(ctx context.Context) error {
	if err := r.wait(ctx, time.Now().Add(staysFor), r.second.program.exited); err != nil {
		return err
	}
	r.second.traffic.stop()
	failed := slices.DeleteFunc(slices.Clone(r.second.traffic.failed), func(f result) bool { return f.failure == timedOut })
	switch p := r.second.program; {
	case p.hasEnded():
		r.find(DisturbsCopy, true, "the second copy ended with the first one, %s", p.ending())
	case len(failed) > 0:
		r.find(DisturbsCopy, true, "%d requests to the second copy failed while the first one ended: %s", len(failed), failed[0].text)
	default:
		r.say("second copy", "has answered %d requests", r.second.traffic.counts().answered)
	}
	return nil
}

// endSecond ends the second copy, if there is one.
func (r *rehearsal) endSecond(ctx context.Context) error {
	if r.second.traffic != nil {
		r.second.traffic.stop()
	}
	if r.second.program == nil {
		return nil
	}
	return r.second.program.end(ctx)
}

// elsewhere returns a container whose program listens at other ports, with the targets there. It
// replaces the ports of the targets, which must be in the arguments or variables, and the others at
// which the first copy listens, such as one for its probes, where they are.
func elsewhere(c *Container, targets []*target, listens []netip.AddrPort) (*Container, []*target, error) {
	moved := *c
	moved.Command, moved.Env = slices.Clone(c.Command), slices.Clone(c.Env)
	if c.Image == nil {
		moved.Env = append(os.Environ(), moved.Env...)
	}
	ports := map[string]string{} // those that were replaced
	replace := func(from string) error {
		if ports[from] != "" {
			return nil
		}
		to, err := freePort()
		if err == nil && moved.move(from, to) {
			ports[from] = to
		}
		return err
	}
	var found []*target
	for _, one := range targets {
		if one.Use != Ask {
			continue
		}
		from := one.url.Port()
		if err := replace(from); err != nil {
			return nil, nil, err
		}
		if ports[from] == "" {
			return nil, nil, skip("a second copy needs another port, and %s is in none of its arguments and variables: give it there, as --env PORT=%s", from, from)
		}
		u := *one.url
		u.Host = net.JoinHostPort(u.Hostname(), ports[from])
		there := one.Target
		there.URL = u.String()
		checked, err := newTarget(there, true)
		if err != nil {
			return nil, nil, err
		}
		found = append(found, checked)
	}
	for _, one := range listens {
		if err := replace(strconv.Itoa(int(one.Port()))); err != nil {
			return nil, nil, err
		}
	}
	return &moved, found, nil
}

// move replaces a port in the arguments, and in variables that end with it.
func (c *Container) move(from, to string) (found bool) {
	for i, argument := range c.Command {
		if i == 0 {
			continue
		}
		if replaced := replaceNumber(argument, from, to); replaced != argument {
			c.Command[i], found = replaced, true
		}
	}
	for i, variable := range c.Env {
		name, value, _ := strings.Cut(variable, "=")
		if address, ok := strings.CutSuffix(value, from); ok && (address == "" || strings.HasSuffix(address, ":")) {
			c.Env[i], found = name+"="+address+to, true
		}
	}
	return found
}

// replaceNumber replaces a number in a text, but not within a longer number.
func replaceNumber(text, from, to string) string {
	digit := func(i int) bool {
		return i >= 0 && i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.')
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if strings.HasPrefix(text[i:], from) && !digit(i-1) && !digit(i+len(from)) {
			b.WriteString(to)
			i += len(from)
			continue
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String()
}

// freePort returns a loopback port on which nobody listens now.
func freePort() (string, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", fmt.Errorf("rehearse: a port for the second copy: %w", err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
