package confine

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits bound what a run may use, all its processes together. Zero is no bound.
type Limits struct {
	// Memory is in bytes. The kernel kills a run that needs more.
	Memory int64
	// CPU is in thousandths of a processor. A run that needs more is throttled.
	CPU int64
	// PIDs is how many processes and threads there may be at once. The system refuses to create more.
	PIDs int64
}

const (
	minMemory = 1 << 20
	minCPU    = 10
	// In cgroup v1, the thread that starts the program counts in the group for a moment.
	minPIDs = 2
)

// units are those of an amount of memory, as Kubernetes writes them.
var units = []struct {
	suffix string
	factor float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40},
	{"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"", 1},
}

// ParseMemory parses an amount of memory, as 256Mi or 1G.
func ParseMemory(text string) (int64, error) {
	return parseSize(text, "memory", "in which no program starts")
}

// ParseSize parses an amount of disk space, as 256Mi or 1G.
func ParseSize(text string) (int64, error) {
	return parseSize(text, "room", "which is used up at once")
}

// parseSize parses an amount of bytes.
func parseSize(text, of, tooLittle string) (int64, error) {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := parseNumber(number)
		switch bytes := n * u.factor; {
		case err != nil:
			return 0, fmt.Errorf("%q is no amount of %s: write it as 256Mi or 1Gi", text, of)
		case bytes < minMemory:
			return 0, fmt.Errorf("%s is less than 1Mi, %s: write it as 256Mi or 1Gi", text, tooLittle)
		case bytes >= 1<<60:
			return 0, fmt.Errorf("%s is more %s than any machine has", text, of)
		default:
			return int64(bytes), nil
		}
	}
	return 0, nil // not reached: everything ends with ""
}

// ParseCPU parses a number of processors, as 0.5, 2 or 500m.
func ParseCPU(text string) (int64, error) {
	number, isThousandths := strings.CutSuffix(text, "m")
	n, err := parseNumber(number)
	if !isThousandths {
		n *= 1000
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number of processors: write it as 500m, 0.5 or 2", text)
	case n < minCPU:
		return 0, fmt.Errorf("%s is less than 10m, the least that the kernel can tell apart", text)
	case n > 1e6:
		return 0, fmt.Errorf("%s is more than a thousand processors: is that meant?", text)
	}
	return int64(n), nil
}

// CheckPIDs checks a number of processes and threads.
func CheckPIDs(n int) (int64, error) {
	switch {
	case n < minPIDs:
		return 0, fmt.Errorf("%d: use %d or more, or leave it out", n, minPIDs)
	case n > 1<<22: // PID_MAX_LIMIT
		return 0, fmt.Errorf("%d is more than the system can have", n)
	}
	return int64(n), nil
}

// parseNumber parses digits with or without a point; no sign, exponent, or name such as Inf.
func parseNumber(text string) (float64, error) {
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseFloat(text, 64)
	if err == nil && math.IsInf(n, 0) {
		err = strconv.ErrRange
	}
	return n, err
}

// FormatSize writes an amount of bytes in the form that ParseMemory and ParseSize parse.
func FormatSize(bytes int64) string {
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}} {
		if bytes%u.factor == 0 {
			return strconv.FormatInt(bytes/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// controllers are the controllers that the limits need, by the names that both cgroup versions
// have.
func (l Limits) controllers() []string {
	var all []string
	for _, c := range []struct {
		name  string
		limit int64
	}{{controllerMemory, l.Memory}, {controllerCPU, l.CPU}, {controllerPIDs, l.PIDs}} {
		if c.limit > 0 {
			all = append(all, c.name)
		}
	}
	return all
}

const (
	controllerMemory = "memory"
	controllerCPU    = "cpu"
	controllerPIDs   = "pids"
)
