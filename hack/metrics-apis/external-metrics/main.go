// Command external-metrics serves external.metrics.k8s.io with values that tests write into files. The file NAMESPACE.json of the folder
// has the metrics of a namespace, and is read for each request:
//
//	{"delay": "20s", "error": "", "metrics": {"queue": [{"value": "3", "labels": {"name": "a"}, "age": "1m", "window": 60}]}}
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/logs"
	"k8s.io/klog/v2"
	"k8s.io/metrics/pkg/apis/external_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider/defaults"
)

// script is what a file says.
type script struct {
	// Delay is how long an answer takes.
	Delay metav1.Duration `json:"delay"`
	// Error is answered instead of values, if it is not empty.
	Error   string             `json:"error"`
	Metrics map[string][]value `json:"metrics"`
}

type value struct {
	Value  resource.Quantity `json:"value"`
	Labels map[string]string `json:"labels"`
	// Age is how old the value is when it is asked for.
	Age metav1.Duration `json:"age"`
	// Window is for how many seconds it was measured.
	Window *int64 `json:"window"`
}

// files is a provider with the values of a folder.
type files struct {
	defaults.DefaultExternalMetricsProvider
	folder string
}

func (f *files) read(namespace string) (script, error) {
	var found script
	content, err := os.ReadFile(filepath.Join(f.folder, filepath.Base(namespace)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(content, &found)
}

func (f *files) GetExternalMetric(ctx context.Context, namespace string, selector labels.Selector, info provider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	found, err := f.read(namespace)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(found.Delay.Duration):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if found.Error != "" {
		return nil, apierrors.NewInternalError(errors.New(found.Error))
	}
	list := &external_metrics.ExternalMetricValueList{}
	for _, value := range found.Metrics[info.Metric] {
		if !selector.Matches(labels.Set(value.Labels)) {
			continue
		}
		list.Items = append(list.Items, external_metrics.ExternalMetricValue{
			MetricName:    info.Metric,
			MetricLabels:  value.Labels,
			Timestamp:     metav1.NewTime(time.Now().Add(-value.Age.Duration)),
			WindowSeconds: value.Window,
			Value:         value.Value,
		})
	}
	return list, nil
}

func main() {
	logs.InitLogs()
	defer logs.FlushLogs()
	adapter := cmd.AdapterBase{Name: "external-metrics"}
	folder := adapter.Flags().String("folder", "", "Folder with the files of metrics.")
	logs.AddFlags(adapter.Flags())
	if err := adapter.Flags().Parse(os.Args[1:]); err != nil {
		klog.Fatal(err)
	}
	adapter.WithExternalMetrics(&files{folder: *folder})
	if err := adapter.Run(genericapiserver.SetupSignalContext()); err != nil {
		klog.Fatal(err)
	}
}
