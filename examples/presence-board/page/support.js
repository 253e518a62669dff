// Says that the browser is too old for the page. In the syntax of 2009, because the modules do not run there.

(function () {
  // The newest function that the modules call. Browsers that have it also know their syntax.
  if (Array.prototype.at) return;
  document.getElementById('too-old').hidden = false;
  document.getElementById('connection').hidden = true;
})();
