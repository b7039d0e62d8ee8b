"""A replica of Kanary as a process, in place of the pods of its Deployment: the pods of the plane run no containers."""

import json
import os
import signal
import subprocess
import threading


def kubectl(*arguments, **options):
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True, **options).stdout


class Replica(threading.Thread):
    """Follows the Deployments of Kanary, and runs the program with the arguments and the ServiceAccount of the last one."""

    def __init__(self, program, folder):
        super().__init__(daemon=True)
        self.program, self.folder = program, folder
        self.log = open(folder / "controller.log", "w", encoding="utf-8")
        self.process, self.generation = None, None
        selector = "app.kubernetes.io/name=kanary"
        command = ["kubectl", "get", "deployments", "-A", "-l", selector, "-o", "json", "--watch", "--output-watch-events"]
        self.watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def run(self):
        text = ""
        for line in self.watch.stdout:
            text += line
            try:
                event = json.loads(text)
            except json.JSONDecodeError:
                continue  # kubectl may write an object on several lines
            text = ""
            self.follow(event["type"], event["object"])

    def follow(self, change, deployment):
        seen = (deployment["metadata"]["uid"], deployment["metadata"]["generation"])
        if change == "DELETED":
            if self.generation and self.generation[0] == seen[0]:
                self.stop()
        elif seen != self.generation:
            self.stop()
            self.start_program(deployment)
            self.generation = seen

    def start_program(self, deployment):
        namespace, pod = deployment["metadata"]["namespace"], deployment["spec"]["template"]["spec"]
        token = kubectl("-n", namespace, "create", "token", pod["serviceAccountName"]).strip()
        config = json.loads(kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = namespace
        path = self.folder / "controller.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        arguments = [it.replace("$(POD_NAME)", "kanary-0") for it in pod["containers"][0]["args"]]
        arguments = ["--admin-addr=127.0.0.1:0" if it.startswith("--admin-addr=") else it for it in arguments]
        environment = {**os.environ, "KUBECONFIG": str(path), "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [self.program, *arguments], env=environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def stop(self):
        """As a kubelet does, but without the long period of grace."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = self.generation = None

    def end(self):
        self.watch.terminate()
        self.watch.wait()
        self.join()
        self.stop()
        self.log.close()
