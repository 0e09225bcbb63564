package rehearse

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The methods of the gRPC health protocol, which every server may have.
const (
	healthCheck = "/grpc.health.v1.Health/Check"
	healthWatch = "/grpc.health.v1.Health/Watch"
)

// gRPC statuses by which a server answers that it does not know.
const (
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// beGRPC makes the requests those of the health protocol: Check, and Watch, which is a stream.
func (t *target) beGRPC() {
	t.Method, t.Body = http.MethodPost, healthRequest(strings.TrimPrefix(t.url.Path, "/"))
	t.Header = t.Header.Clone()
	if t.Header == nil {
		t.Header = http.Header{}
	}
	t.Header.Set("Content-Type", "application/grpc")
	t.Header.Set("Te", "trailers")
	t.grpc = true
	check, watch := *t.url, *t.url
	check.Path, watch.Path = healthCheck, healthWatch
	t.url = &check
	stream := *t
	stream.url, t.watch = &watch, &stream
}

// saidError is an error that the server has answered.
type saidError string

func (s saidError) Error() string { return string(s) }

// grpcStatus is the status of an answer that was read to its end, and false if there is none.
func grpcStatus(resp *http.Response) (status int, message string, ok bool) {
	from := resp.Trailer
	if from.Get("Grpc-Status") == "" {
		from = resp.Header // of an answer without a message
	}
	status, err := strconv.Atoi(from.Get("Grpc-Status"))
	return status, from.Get("Grpc-Message"), err == nil
}

// answered is the status of an answer that was read to its end. The error is one that the server
// has answered, other than by an HTTP status.
func (t *target) answered(resp *http.Response) (int, error) {
	if !t.grpc || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	switch status, message, ok := grpcStatus(resp); {
	case !ok:
		return 0, saidError("an answer without grpc-status")
	case status != 0 && status != grpcNotFound && status != grpcUnimplemented:
		return 0, saidError(fmt.Sprintf("grpc-status %d %s", status, message))
	}
	return resp.StatusCode, nil
}

// errNoStatus is the error of a gRPC stream that ended without a status.
var errNoStatus = fmt.Errorf("%w: it ended without grpc-status", errWithin)
