package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lastcall-go/lastcall/task"
)

// checkHost refuses a foreign name that was made to point to this machine: a page of that name
// would have the same origin.
func (h *Handler) checkHost(host string) error {
	if !h.local {
		return nil
	}
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	if isLoopback(name) || slices.ContainsFunc(h.hosts, func(s string) bool { return strings.EqualFold(s, name) }) {
		return nil
	}
	return problem("wrong-host", "host %.100q is not this machine: ask for 127.0.0.1 or localhost, or make the proxy in front send such a Host", host)
}

// isLoopback reports whether a host, without its port, is this machine only.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// checkMedia accepts only the media type of a route, exactly.
func checkMedia(r *http.Request, want string) error {
	given := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(given)
	if err != nil || media != want {
		return problem("unsupported-media-type", "the Content-Type is %.100q: send the header Content-Type: %s", given, want)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return problem("unsupported-media-type", "the Content-Encoding is %.100q: send the body as it is, without that header", coding)
	}
	return nil
}

// readBody reads a body of bounded size.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	// A body that is known to be too large is refused before it is read.
	if r.ContentLength > most {
		w.Header().Set("Connection", "close")
		return nil, tooLarge(most)
	}
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		// Allocate for what has come and not for what is announced: thousands may announce a MiB each and
		// send nothing.
		buf.Grow(int(min(r.ContentLength, bodyStep)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, most))
	return buf.Bytes(), bodyError(err)
}

// bodyError returns what is wrong with a body that could not be read.
func bodyError(err error) error {
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return tooLarge(over.Limit)
	}
	if err != nil {
		return problem("invalid", "the body ended early: %v: send it whole, within 30 s", err)
	}
	return nil
}

func tooLarge(most int64) error {
	return problem("too-large", "the body has more than %d bytes: put the data into a file and submit its name", most)
}

// commandBody reads the body of a command: nothing, or an object with the reason for it and with
// the command's own members.
func commandBody(w http.ResponseWriter, r *http.Request, others ...string) (m map[string]json.RawMessage, reason string, err error) {
	b, err := readBody(w, r, envelope)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return nil, "", err
	}
	if m, err = members(b); err != nil {
		return nil, "", err
	}
	if err := known(m, "this command", append([]string{"reason"}, others...)...); err != nil {
		return nil, "", err
	}
	reason, err = readReason(m)
	return m, reason, err
}

// known refuses members that are not known.
func known(m map[string]json.RawMessage, what string, names ...string) error {
	for name := range m {
		if !slices.Contains(names, name) {
			return problem("invalid", "%.40q is not known: %s has %s", name, what, strings.Join(names, ", "))
		}
	}
	return nil
}

// readReason reads the member reason, if there is one.
func readReason(m map[string]json.RawMessage) (reason string, err error) {
	if err := text(m, "reason", &reason); err != nil {
		return "", err
	}
	return reason, checkReason(reason)
}

// checkReason refuses a reason that would not be kept as it is.
func checkReason(reason string) error {
	if len(reason) > task.MaxReason || !utf8.ValidString(reason) || strings.ContainsRune(reason, 0) {
		return problem("invalid", "the reason is %.40q: give a text of at most %d bytes", reason, task.MaxReason)
	}
	return nil
}
