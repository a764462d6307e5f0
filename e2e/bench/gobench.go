package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// benchmark is a line of `go test -bench`.
type benchmark struct {
	Name    string             `json:"name"` // without Benchmark and the number of processors
	Figures map[string]float64 `json:"figures"`
}

// goBenchmarks runs all of a module's.
func goBenchmarks(ctx context.Context, dir string) ([]benchmark, error) {
	command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=.", "-benchmem", "-benchtime=500ms", "./...")
	command.Dir = dir
	// As jobgate itself sets it under load (internal/daemon/collector.go).
	command.Env = append(os.Environ(), "GOGC=400", "CGO_ENABLED=0")
	out, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	return parseBenchmarks(out)
}

var benchmarkName = regexp.MustCompile(`^Benchmark(\S+?)(-[0-9]+)?$`)

func parseBenchmarks(text []byte) (all []benchmark, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !benchmarkName.MatchString(fields[0]) {
			continue
		}
		b := benchmark{Name: benchmarkName.FindStringSubmatch(fields[0])[1], Figures: map[string]float64{}}
		for i := 2; i+1 < len(fields); i += 2 {
			if b.Figures[fields[i+1]], err = strconv.ParseFloat(fields[i], 64); err != nil {
				return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
			}
		}
		all = append(all, b)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("go test -bench printed no figures:\n%s", text)
	}
	return all, nil
}
