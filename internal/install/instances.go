package install

import (
	"fmt"
	"net"
	"strconv"
)

// suffix is at the end of the names of the second instance's pod, unit and files.
const suffix = "-2"

// instance is one of the jobgates of a node. They share everything but the address for health.
type instance struct {
	suffix string // of names; empty for the first
	health string // host:port
}

func instances(o Options) ([]instance, error) {
	all := []instance{{health: o.HealthAddress}}
	if !o.Second {
		return all, nil
	}
	second, err := SecondHealthAddress(o.HealthAddress)
	if err != nil {
		return nil, &optionError{"--health-address", err}
	}
	return append(all, instance{suffix: suffix, health: second}), nil
}

// args are the arguments of jobgate serve besides ServeArgs.
func (i instance) args(o Options) []string {
	var args []string
	if i.suffix != "" {
		args = append(args, "--health-address="+i.health)
	}
	if o.DecisionLog {
		args = append(args, "--decision-log="+DecisionFile)
	}
	return args
}

// ready is where the node itself learns whether the instance can answer.
func (i instance) ready() string { return "http://" + DialAddress(i.health) + "/readyz" }

// SecondHealthAddress is the health address of a node's second instance: the next port.
func SecondHealthAddress(first string) (string, error) {
	host, text, err := net.SplitHostPort(first)
	if err != nil {
		return "", err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", err
	}
	if port == 0 || port == 65535 {
		return "", fmt.Errorf("%q leaves no port for the second instance's health, which is the next one", first)
	}
	return net.JoinHostPort(host, strconv.FormatUint(port+1, 10)), nil
}
