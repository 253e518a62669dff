use crate::layer::WebhookLayer;

impl WebhookLayer {
    /// Waits until every handler and every settlement that runs in the background has ended.
    ///
    /// Call it after the server has stopped and before the process ends, with a limit of your own: a settlement is
    /// tried for up to ten minutes while the store is down. What is cut off then is claimed again when its lease ends.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # async fn shut_down(layer: roomz_webhook::WebhookLayer) {
    /// // After the server has stopped:
    /// if tokio::time::timeout(Duration::from_secs(25), layer.drain()).await.is_err() {
    ///     eprintln!("some handlers were still running; their events will be claimed again");
    /// }
    /// # }
    /// ```
    pub async fn drain(&self) {
        let tasks = &self.receiver().tasks;
        tasks.close();
        tasks.wait().await;
    }
}
