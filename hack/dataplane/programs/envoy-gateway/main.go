// Command envoy-gateway is Envoy Gateway with its metrics on a loopback address. Its own command takes port 8080 of every
// address, which the pods of a data plane want.
package main

import (
	"fmt"
	"os"

	"github.com/envoyproxy/gateway/cmd/envoy-gateway/root"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	server.DefaultBindAddress = "127.0.0.1:18080"
	if err := root.GetRootCommand(nil).ExecuteContext(signals.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
