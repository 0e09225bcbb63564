package rehearse

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Target is something that clients ask the program for.
type Target struct {
	// URL says where it is, and how clients talk to it: by http or https.
	URL string
	// Use says what clients do with it.
	Use Use
	// Method is that of the requests, GET if it is empty. Header and Body are sent with each.
	Method string
	Header http.Header
	Body   string
}

// Use is what clients do with a target.
type Use string

const (
	// Ask: clients connect at Config.Rate, each for one request, and some keep their connections and
	// ask again and again. The program is ready when each such target answers.
	Ask Use = ""
	// Slow: three requests, which take a second or some to answer, are in flight when the stop signal
	// comes.
	Slow Use = "slow"
)

// target is a Target that was checked.
type target struct {
	Target
	url  *url.URL
	addr string // host and port to connect to

	tls  *tls.Config // nil without TLS
	once []byte      // a request of HTTP/1.1 that closes its connection
	more []byte      // the same, and more will follow
	// asked is what an answer is read as one to.
	asked *http.Request
}

// schemes are how clients talk, each with what they may do.
var schemes = map[string][]Use{
	"http":  {Ask, Slow},
	"https": {Ask, Slow},
}

// newTarget checks a target. One that is not of this machine's loopback needs anyHost.
func newTarget(t Target, anyHost bool) (*target, error) {
	u, err := url.Parse(t.URL)
	if err != nil || schemes[u.Scheme] == nil || u.Port() == "" || u.Hostname() == "" {
		return nil, fmt.Errorf("rehearse: %q is no address like http://127.0.0.1:8080/path", t.URL)
	}
	if !slices.Contains(schemes[u.Scheme], t.Use) {
		return nil, fmt.Errorf("rehearse: %s: clients of %s know no %q", t.URL, u.Scheme, t.Use)
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if !anyHost && !loopback {
		return nil, fmt.Errorf("rehearse: %s is not this machine's loopback: the traffic of a rehearsal is for the program that it has started", u.Host)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	one := &target{Target: t, url: u, addr: u.Host}
	if one.Method == "" {
		one.Method = http.MethodGet
	}
	one.asked = &http.Request{Method: one.Method}
	if u.Scheme == "https" {
		one.tls = &tls.Config{
			ServerName:         u.Hostname(),
			NextProtos:         []string{"http/1.1"},
			InsecureSkipVerify: loopback, //nolint:gosec // a certificate is for the name that the program has elsewhere
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		}
	}
	if one.more, err = one.request(false); err != nil {
		return nil, err
	}
	one.once, err = one.request(true)
	return one, err
}

// request is a request as it is sent.
func (t *target) request(last bool) ([]byte, error) {
	req, err := t.newRequest(context.Background())
	if err != nil {
		return nil, err
	}
	req.Close = last
	var text bytes.Buffer
	if err := req.Write(&text); err != nil {
		return nil, fmt.Errorf("rehearse: a request for %s: %w", t.URL, err)
	}
	return text.Bytes(), nil
}

// newRequest is a request of package net/http.
func (t *target) newRequest(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, t.Method, t.url.String(), strings.NewReader(t.Body))
	if err != nil {
		return nil, fmt.Errorf("rehearse: a request for %s: %w", t.URL, err)
	}
	req.Header = t.Header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "lastcall-rehearse")
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// String is the target in a report.
func (t *target) String() string { return t.url.String() }

// ask is what is asked for, in a few words.
func (t *target) ask() string { return t.Method + " " + t.url.RequestURI() }

// answers asks once, and says what the answer was. An error means that the program is not ready.
func (t *target) answers(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	one := &traffic{ctx: ctx}
	w, err := one.dial(t)
	if err != nil {
		return "", err
	}
	defer w.close()
	w.begin(time.Second)
	status, _, err := w.exchange(t, t.once)
	if err != nil {
		return "", err
	}
	if status >= http.StatusInternalServerError {
		return "", errors.New("it answers " + strconv.Itoa(status))
	}
	return t.ask() + " " + strconv.Itoa(status), nil
}

// answers asks each target once that clients ask, and says what the last answer was.
func answers(ctx context.Context, targets []*target) (said string, err error) {
	for _, one := range targets {
		if one.Use != Ask {
			continue
		}
		if said, err = one.answers(ctx); err != nil {
			return "", fmt.Errorf("%s: %w", one, err)
		}
	}
	return said, nil
}
